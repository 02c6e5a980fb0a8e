import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('lifecycle', '0043_images_that_are_there'),
    ]

    operations = [
        migrations.CreateModel(
            name='GroupGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(max_length=100, verbose_name='model')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth.group', verbose_name='group')),
            ],
            options={
                'verbose_name': 'grant of a group',
                'verbose_name_plural': 'grants of groups',
                'constraints': [models.UniqueConstraint(fields=('group', 'model'), name='a_group_is_given_a_model_once')],
            },
        ),
    ]
