from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('lifecycle', '0008_operations_can_be_cancelled'),
    ]

    operations = [
        migrations.AddField(
            model_name='host',
            name='down_since',
            field=models.DateTimeField(blank=True, null=True, verbose_name='tried in vain since'),
        ),
    ]
